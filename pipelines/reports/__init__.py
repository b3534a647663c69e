"""What people look at: tables on a terminal, HTML pages, figures.

Imports scores, stages and all that is below.
"""
