"""The commands recipe list, show and check: what recipes there are, and what is in them."""

from typing import Annotated, Literal

import typer

from .run import Changes

Scale = Literal["full", "small"]
Name = Annotated[str, typer.Argument(help="Recipe, by name or .toml file.")]
ScaleOption = Annotated[Scale, typer.Option(help="small: with the recipe's section \\[small].")]


def list_() -> None:
    """List the recipes that come with the package."""
    from pipelines.reports.tables import open_console
    from pipelines.runs.recipe import load_recipe
    from pipelines.runs.recipe_files import list_recipes

    names = list_recipes()
    width = max(map(len, names))
    console = open_console()
    for name in names:
        line = f"{name:{width}}  {load_recipe(name).description}"
        console.print(line, markup=False, highlight=False)


def show(name: Name, scale: ScaleOption = "full", changes: Changes = None) -> None:
    """Show a recipe: its file, its bases, and all settings that are not the defaults."""
    from pipelines.runs.differences import list_differences
    from pipelines.runs.recipe import Recipe, load_recipe
    from pipelines.runs.recipe_files import read_chain

    chain = read_chain(name)
    recipe = load_recipe(name, scale, changes or ())
    print(chain[0].text.strip())
    if len(chain) > 1:
        _print_title("bases, each with what the one before it does not say")
        print(" -> ".join(file.name for file in chain))
    _print_title(f"settings that are not the defaults, at {scale} scale")
    print("\n".join(list_differences(Recipe(), recipe)))
    if any("small" in file.values for file in chain):
        _print_title("what --scale small changes")
        full, small = load_recipe(name), load_recipe(name, "small")
        print("\n".join(list_differences(full, small)))
    if recipe.report.title:
        _print_title("the report")
        print(f"{recipe.report.title} ({recipe.report.authors})")
        print("\n".join(f"- {sentence}" for sentence in recipe.report.differs))


def check(name: Name) -> None:
    """Say whether a recipe is valid, at each of its scales, or what is wrong with it.

    Its networks must be among those of timm, and have the strides, stages and layers that settings
    name. Settings that another one switches off are named.
    """
    from pipelines.runs.networks import check_network
    from pipelines.runs.recipe import load_recipe, member_recipe
    from pipelines.runs.recipe_files import read_chain, read_keys
    from pipelines.runs.unused_settings import find_unused

    scales: list[Scale] = ["full"]
    if any("small" in file.values for file in read_chain(name)):
        scales.append("small")
    for scale in scales:
        recipe = load_recipe(name, scale)
        members = [member_recipe(recipe, member) for member in recipe.ensemble.members]
        networks = {each.train.backbone for each in members or [recipe]}
        for place, each in enumerate(members or [recipe]):
            check_network(each, first=place == 0)
        print(f"{name}, {scale}: ok, {', '.join(sorted(networks))}, policy {recipe.decide.policy}")
        said = read_keys(name, scale)
        for key, reason in find_unused(recipe, said).items():
            print(f"  {key} changes nothing: {reason}")


def _print_title(title: str) -> None:
    print(f"\n{title}:")
