"""The command line as a whole: which verbs there are, and what becomes of errors, Ctrl-C and closed pipes.

Only the verb that is asked for is loaded, and each verb loads what it needs when it runs: `swarmkeep version --client`
must not wait for an HTTP client.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from keyword import iskeyword
from typing import Any

import typer

from swarmkeep.cli.options import ContextName, Kubeconfig, Namespace, RequestTimeout
from swarmkeep.errors import SwarmKeepError

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the signal's number, as shells have it."""

VERBS = {
    # verb: (module, heading in the help)
    "apply": ("swarmkeep.cli.apply", "Objects"),
    "get": ("swarmkeep.cli.get", "Objects"),
    "describe": ("swarmkeep.cli.describe", "Objects"),
    "watch": ("swarmkeep.cli.watch", "Objects"),
    "delete": ("swarmkeep.cli.delete", "Objects"),
    "diff": ("swarmkeep.cli.diff", "Objects"),
    "explain": ("swarmkeep.cli.explain", "Objects"),
    "wait": ("swarmkeep.cli.wait", "Objects"),
    "migrate": ("swarmkeep.cli.migrate", "Workloads"),
    "rollback": ("swarmkeep.cli.rollback", "Workloads"),
    "forget": ("swarmkeep.cli.forget", "Workloads"),
    "history": ("swarmkeep.cli.history", "Versions"),
    "prune": ("swarmkeep.cli.prune", "Versions"),
    "verify": ("swarmkeep.cli.verify", "Versions"),
    "import": ("swarmkeep.cli.import_", "Versions"),
    "doctor": ("swarmkeep.cli.doctor", "Administration"),
    "explain-placement": ("swarmkeep.cli.explain_placement", "Administration"),
    "version": ("swarmkeep.cli.version", "Administration"),
    "completion": ("swarmkeep.cli.completion", "Administration"),
    "pki": ("swarmkeep.cli.pki", "Administration"),
    "manager": ("swarmkeep.daemons", "Daemons"),
    "apiserver": ("swarmkeep.daemons", "Daemons"),
    "operator": ("swarmkeep.daemons", "Daemons"),
    "agent": ("swarmkeep.daemons", "Daemons"),
}

_HELP = {"help_option_names": ["-h", "--help"]}


def build_app(verbs: Sequence[str]) -> typer.Typer:
    """The command line with only these verbs."""
    app = typer.Typer(
        name="swarmkeep",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings=_HELP,
    )
    app.callback()(_before_any_verb)
    for verb in verbs:
        module_name, panel = VERBS[verb]
        module = importlib.import_module(module_name)
        if isinstance(group := getattr(module, "app", None), typer.Typer):
            app.add_typer(group, name=verb, rich_help_panel=panel)
        else:
            function = f"{verb}_" if iskeyword(verb) else verb.replace("-", "_")
            app.command(verb, rich_help_panel=panel, context_settings=_HELP)(getattr(module, function))
    return app


def _before_any_verb(
    ctx: typer.Context,
    namespace: Namespace = None,
    context: ContextName = None,
    kubeconfig: Kubeconfig = None,
    request_timeout: RequestTimeout = "",
) -> None:
    """Keeps the state of containers alive in a Docker Swarm."""
    given = {"namespace": namespace, "context": context, "kubeconfig": kubeconfig, "request_timeout": request_timeout}
    defaults: dict[str, Any] = {name: value for name, value in given.items() if value}
    if defaults:
        # `swarmkeep -n shop get wl` is `swarmkeep get wl -n shop`.
        ctx.default_map = dict.fromkeys(VERBS, defaults)


def run_app(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    verb = next((word for word in arguments if word in VERBS), None)
    completing = "_SWARMKEEP_COMPLETE" in os.environ
    # A value before the verb may look like a verb (`-n agent get wl`): then all of them are loaded.
    certain = verb is not None and arguments[0] == verb and not completing
    app = build_app([verb] if certain and verb else list(VERBS))
    if completing:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
    try:
        try:
            app(list(arguments), prog_name="swarmkeep")
        finally:
            # Here and not at the interpreter's end, where a closed pipe could no longer be handled.
            sys.stdout.flush()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except SwarmKeepError as error:
        from swarmkeep.cli.failures import explain_failure

        print(explain_failure(error), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has enough. Python would complain once more when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0
