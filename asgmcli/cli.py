"""The `asgm` command: a click group whose commands load only when they are called."""

from __future__ import annotations

import difflib
import importlib
import io
import os
import sys

import click

from asgmcli import __version__

# Command name -> module in asgmcli.commands; each module holds one click command named `command`.
COMMANDS = {
    "doctor": "doctor",
    "recipes": "recipes",
    "prepare": "prepare",
    "localize": "localize",
    "visualize-masks": "visualize_masks",
    "train": "train",
    "eval": "eval",
    "predict": "predict",
    "why": "why",
    "next": "next_clips",
    "serve": "serve",
    "report": "report",
    "status": "status",
    "export": "export",
    "bench": "bench",
}
# Names that other tools use for a command, with the name here.
MEANT = {
    **dict.fromkeys(("infer", "inference", "classify"), "predict"),
    **dict.fromkeys(("test", "evaluate", "validate", "val", "score", "judge"), "eval"),
    **dict.fromkeys(("fit", "run", "finetune", "resume"), "train"),
    **dict.fromkeys(("list", "ls", "configs", "zoo"), "recipes"),
    **dict.fromkeys(("explain", "occlude", "attribute"), "why"),
    **dict.fromkeys(("active", "label", "annotate", "suggest"), "next"),
    **dict.fromkeys(("check", "info", "env", "diagnose"), "doctor"),
    **dict.fromkeys(("download", "data", "preprocess"), "prepare"),
    **dict.fromkeys(("convert", "onnx"), "export"),
    **dict.fromkeys(("server", "web", "app", "ui", "gui", "play"), "serve"),
    **dict.fromkeys(("html", "page", "share", "summary"), "report"),
    **dict.fromkeys(("progress", "watch", "top", "ps", "eta"), "status"),
    **dict.fromkeys(("visualize", "draw", "plot"), "visualize-masks"),
    **dict.fromkeys(("benchmark", "profile"), "bench"),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is looked up, in the order of `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        """Return the names of all commands, in the order of the user's workflow."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """Return the command named `cmd_name`, or None."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"asgmcli.commands.{COMMANDS[cmd_name]}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that `args` name; for an unknown one suggest close matches and list all."""
        name = args[0]
        if name not in COMMANDS:
            meant = MEANT.get(name.lower())
            near = [meant] if meant in COMMANDS else difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {name!r}.{hint} Commands: {', '.join(COMMANDS)}.")
        known, command, rest = super().resolve_command(ctx, args)
        return known, command, rest if command is None else dashed_paths(command, rest)


def dashed_paths(command: click.Command, arguments: list[str]) -> list[str]:
    """Return `arguments` with `./` before the name of a file or folder that begins with a dash and exists.

    click would read such a name as options. The command's own options stay options, also where a file bears the same
    name; a command that only holds others leaves its arguments as they are.
    """
    if isinstance(command, click.Group):
        return arguments
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = {"-h", "--help"}.union(*(parameter.opts + parameter.secondary_opts for parameter in command.params))
    return [
        f"./{text}" if text.startswith("-") and _names_a_path(text, options) else text for text in arguments[:end]
    ] + arguments[end:]


def _names_a_path(text: str, options: set[str]) -> bool:
    return text.partition("=")[0] not in options and os.path.lexists(text)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="asgm")
def main() -> None:
    """Learn from a few labelled clips and many unlabelled ones, with picture and sound together.

    \b
    Start here:  asgm train recipes/demo.yaml   (without a clone: asgm train demo)
    Does it work here?  asgm doctor
    """
    for stream in (sys.stdout, sys.stderr):
        # Names that are not UTF-8, or that the terminal cannot show, must not end a run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
