"""The search service: a page that people use and an API that programs use, over one release root.

One ASGI application (`app.make_app`) around a `Gateway`, which knows nothing of HTTP.
"""
