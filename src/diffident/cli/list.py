"""``diffident list``: what there is, by name."""

from __future__ import annotations

import click

KINDS = ("statistics", "recipes", "denoisers", "walks", "probes", "steps", "spaces", "modalities")


@click.command("list", short_help="What there is: statistics, recipes, denoisers, walks, probes, steps, spaces, modalities.")
@click.argument("kind", type=click.Choice(KINDS), metavar="KIND")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(kind: str, as_json: bool) -> None:
    """The registered things of a KIND with a sentence each, those of other installed packages among them."""
    import json

    from .. import registry

    found = {name: describe(kind, registry.find(kind, name)) for name in registry.names(kind)}
    if as_json:
        click.echo(json.dumps(found))
        return
    width = max(map(len, found), default=0)
    for name, said in found.items():
        click.echo(f"{name:<{width}}  {said}")


def describe(kind: str, thing: object) -> str:
    """One sentence about a thing: what it does, and for a recipe what it costs and where it is from."""
    if kind == "recipes":
        readings = ", ".join(dict.fromkeys(reading.label for reading in thing.readings))  # type: ignore[attr-defined]
        return f"{readings}; {thing.cost}; {thing.source}"  # type: ignore[attr-defined]
    return (thing.__doc__ or "").strip().split("\n")[0]
