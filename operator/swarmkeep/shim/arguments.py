"""Reads the command line that containerd gives an OCI runtime. Used by the shim's commands; runc gets it unchanged."""

from __future__ import annotations

from typing import NamedTuple

# Options that take a value, by where they stand: a word after one of these is never the command or the container.
GLOBAL_VALUES = frozenset({"log", "log-format", "root", "criu", "rootless"})
CREATE_VALUES = frozenset({"bundle", "b", "console-socket", "pidfd-socket", "pid-file", "preserve-fds"})
_VALUES_BY_COMMAND = {"create": CREATE_VALUES}


class Call(NamedTuple):
    """One call of the runtime."""

    words: tuple[str, ...]
    """All arguments as they came, without the program's own name."""
    command: str
    """`create`, `start`, `kill` ...; empty when there is none, as in `--version`."""
    options: dict[str, str]
    """Global options and options of the command without their dashes; a flag's value is `true`."""
    operands: tuple[str, ...]
    """What follows the command and is no option: the container first."""

    @property
    def container_id(self) -> str:
        return self.operands[0] if self.operands else ""

    @property
    def bundle(self) -> str:
        """The OCI bundle; the working directory when the caller names none."""
        return self.options.get("bundle") or self.options.get("b") or "."

    @property
    def root(self) -> str:
        """Where the runtime keeps its state; empty for the runtime's default."""
        return self.options.get("root", "")


def parse_call(words: list[str]) -> Call:
    """Understands a command line as runc does: `-x`, `--x`, `--x V`, `--x=V`, and `--` as the end of the options."""
    options: dict[str, str] = {}
    command, position = "", 0
    operands: list[str] = []
    values = GLOBAL_VALUES
    while position < len(words):
        word = words[position]
        position += 1
        if word == "--":
            operands.extend(words[position:])
            break
        if word.startswith("-") and word != "-":
            name, separator, value = word.lstrip("-").partition("=")
            if separator:
                options[name] = value
            elif name in values and position < len(words):
                options[name] = words[position]
                position += 1
            else:
                options[name] = "true"
        elif not command:
            command, values = word, _VALUES_BY_COMMAND.get(word, frozenset())
        else:
            # runc finds options behind operands too.
            operands.append(word)
    if operands and not command:
        command, operands = operands[0], operands[1:]
    return Call(tuple(words), command, options, tuple(operands))
