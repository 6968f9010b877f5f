"""Modules that the generated package gets as they are. They import nothing but each other and the standard library."""
