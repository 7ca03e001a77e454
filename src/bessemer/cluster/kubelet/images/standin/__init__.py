"""What is put into users' environments: a stand-in for pip. Standard library only, Python 3.8+.

Nothing of Bessemer imports it; ``environments`` copies the folder ``pip``.
"""
