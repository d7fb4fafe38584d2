"""`swarmkeep completion`: what a shell needs to complete verbs, options, kinds and names."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Shell(StrEnum):
    """Shells that can be helped."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell.")]) -> None:
    """Prints the completion script of a shell.

    Example: source <(swarmkeep completion bash)
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    print(get_completion_script(prog_name="swarmkeep", complete_var="_SWARMKEEP_COMPLETE", shell=str(shell)))
