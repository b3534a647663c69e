"""The stages as commands: recipes, artifacts, their order and the command line."""
