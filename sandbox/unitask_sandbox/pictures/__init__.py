"""The mathematics of the picture tools: enlarging, cutting out what is in front, cutting out what a word names.

Pictures are arrays as in `unitask_sandbox.faces`, which reads them, writes them and finds faces for this package.
"""
