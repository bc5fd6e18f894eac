"""The command line: one file per verb. Nothing here imports torch before it must; ``--help`` never does."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Sequence

import click

from ..errors import DiffidentError

INTERRUPTED = 130


class Verbs(click.Group):
    """A group whose commands are the files of this folder, imported when they are called or described."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        return importlib.import_module(f".{cmd_name}", __name__).command


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="diffident", prog_name="diffident")
def commands() -> None:
    """Ask a diffusion model how strange something is, and get a decision whose error rate is known.

    \b
    diffident train parts/good -o bolts          learn and calibrate; ready to score
    diffident score bolts parts/incoming -o scores.csv
    diffident fit   bolts parts/more-good        calibrate again, on other known-good items
    diffident explain bolts bolt_017.png -o explain.png
    diffident test  bolts parts                  figures on a labelled folder, with intervals
    diffident generate maker -o out --trial trial    samples that can be trusted; the others withheld
    diffident list  recipes

    Exit status: 0 done, 1 refused (the reason on standard error), 2 wrong usage, 130 interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status."""
    try:
        status = commands.main(args=arguments, prog_name="diffident", standalone_mode=False)
    except click.ClickException as wrong:
        wrong.show()
        status = wrong.exit_code
    except DiffidentError as refusal:
        click.echo(f"diffident: {refusal}", err=True)
        status = 1
    except (KeyboardInterrupt, click.Abort):
        click.echo("diffident: interrupted", err=True)
        status = INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away: not an error of ours
        sys.stderr.close()
        status = 1
    except OSError as error:
        click.echo(f"diffident: cannot write: {error.strerror or error}; make room, or send the output elsewhere", err=True)
        status = 1
    sys.exit(status or 0)
