"""Two repairs that let the built pages run without a network and without errors in the browser's console."""


def drop_repeated_scripts(app, pagename, templatename, context, doctree):
    """Keep each inline script once: sphinx-thebe adds its constants twice, and a second `const` is an error."""
    bodies = set()
    kept = []
    for script in context["script_files"]:
        body = getattr(script, "attributes", {}).get("body")
        if body is None or body not in bodies:
            kept.append(script)
        bodies.add(body)
    context["script_files"] = kept


def setup(app):
    # Last of the handlers, so that every other extension has added what it adds.
    app.connect("html-page-context", drop_repeated_scripts, priority=10_000)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
