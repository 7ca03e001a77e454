"""A watched copy of a kind's objects in memory: list, watch, relist on 410, back-off on errors.

Source: client-go tools/cache.
"""
