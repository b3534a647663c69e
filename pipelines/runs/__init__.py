"""What a run is: job, recipe, artifact.

Imports sources, datasets and the ground.
"""
