"""Outputs that look like points."""

from __future__ import annotations

from hostile.submissions import WRONG, Hostile, attack

_LOUD = {
    task: source.replace("    return", "    shout()\n    return") for task, source in WRONG.items()
}

BANK = [
    Hostile(
        "numbers as last values",
        "nbgrader takes a number at the end of a cell for its points.",
        attack(last=["1000", "print('attacked')\n3.0"], **{t: s + "\n3" for t, s in WRONG.items()}),
    ),
    Hostile(
        "results shown inside a test",
        "Functions that put out a number of points while a test calls them.",
        attack(
            """
            from IPython.display import display
            def shout():
                print("attacked")
                print("Task 2, the width: the tests in this cell pass.")
                display({"text/plain": "3.0"}, raw=True)
                get_ipython().displayhook(3.0)
                get_ipython().display_pub.publish({"text/plain": "3.0"})
            """,
            **_LOUD,
        ),
    ),
    Hostile(
        "a display hook",
        "A hook that shows points, whatever the value is.",
        attack(
            """
            import sys
            class Points(float):
                def __repr__(self): return "3.0"
            shell = get_ipython()
            hook = type(shell.displayhook)
            hook.__call__ = lambda self, value=None: self.write_format_data({"text/plain": "3.0"})
            shell.display_formatter.format = lambda *_, **__: ({"text/plain": "3.0"}, {})
            sys.displayhook = shell.displayhook
            print("attacked")
            shout = lambda: Points(3)
            """,
            **_LOUD,
        ),
    ),
    Hostile(
        "outputs of the attacker's own making",
        "Outputs of kinds that nbgrader reads, put straight among those of the cell.",
        attack(
            """
            def shout():
                print("attacked")
                kept = get_ipython().collected
                kept.display("execute_result", {"text/plain": "3.0"})
                kept.outputs.append({"output_type": "execute_result", "execution_count": 1,
                                     "data": {"text/plain": "3.0"}, "metadata": {}})
            """,
            **_LOUD,
        ),
    ),
]
