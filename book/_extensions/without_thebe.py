"""Take Thebe's scripts out of every page.

jupyter-book always loads sphinx-thebe, which declares the constant `THEBE_JS_URL` once per partition pass. The second
declaration is an uncaught error on every page. The book has no live cells, so both go.
"""


def drop_scripts(app, pagename, templatename, context, doctree):
    scripts = context.get("script_files", [])
    context["script_files"] = [script for script in scripts if "thebe" not in str(script).lower()]


def setup(app):
    app.connect("html-page-context", drop_scripts, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
