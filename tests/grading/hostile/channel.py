"""Code that speaks with the judge in the place of the learner's process."""

from __future__ import annotations

from hostile.submissions import HONEST, WRONG, Hostile, attack, returning

# Finds the connection to the judge, and says on it what the attacker likes.
WIRE = """
import base64, gc, json, os, socket, struct, time
channel = next(one for one in gc.get_objects() if type(one).__name__ == "Channel")
wire = channel._connection
def say(data):
    if not isinstance(data, bytes):
        data = json.dumps(data).encode()
    wire.setblocking(True)
    wire.sendall(struct.pack(">I", len(data)) + data)
print("attacked")
"""
FIRST_ONLY = ("d_k_of_1024_by_16",)
ENDED = "ended in the middle"
NO_ANSWER = "sent what is no answer"


def _saying(*what: str) -> dict[str, str]:
    """Return answers that say one thing each, in the places of the first tasks."""
    return {
        task: f"{WRONG[task]}\n{name} = lambda *_: {one}"
        for (task, name), one in zip(((task, task) for task in WRONG), what, strict=False)
    }


BANK = [
    Hostile(
        "messages that are none",
        "Headers and texts on which a careless reader would choke.",
        attack(
            WIRE,
            **_saying(
                "wire.sendall(b'GET / HTTP/1.1')",
                "wire.sendall(bytes([255] * 4))",
                "say(b'[' * 100_000)",
                'say(b\'{"answers": 1e999, "value": NaN}\')',
                "say(bytes(100))",
                "say([1, 2])",
                "say({'callback': [0]})",
                "say({'callback': -1, 'args': {'!tuple': []}, 'kwargs': {'!dict': []}})",
            ),
        ),
        seen=("attacked", NO_ANSWER, "not JSON"),
        findings=("stopped",),
    ),
    Hostile(
        "answers to later questions",
        "Right answers for every question to come, sent before it is asked.",
        attack(
            WIRE
            + """
for number in range(200):
    say({"answers": number, "value": [64], "outputs": []})
"""
        ),
        seen=("no question",),
        findings=("stopped",),
    ),
    Hostile(
        "two answers",
        "A second answer behind each one.",
        attack(
            WIRE
            + """
def send(message, *_):
    more = message | {"answers": message.get("answers", 0) + 1, "value": 64}
    wire.sendall(b"".join(
        struct.pack(">I", len(data)) + data
        for data in (json.dumps(message).encode(), json.dumps(more).encode())
    ))
channel.send = send
"""
        ),
        seen=("spoke without being asked",),
        findings=("stopped",),
    ),
    Hostile(
        "values that are broken",
        "Tensors, sets and objects that stand for nothing.",
        attack(
            WIRE
            + """
import mha_course.autograder.learner as learner
broken = iter([
    {"!tensor": base64.b64encode(struct.pack("<Q", 2**60)).decode()},
    {"!tensor": "no base64"}, {"!tensor": ""}, {"!array": {}}, {"!range": [0, 2**70, 1]},
    {"!set": [[1], [2]]}, {"!dict": [1]}, {"!dtype": "__builtins__"}, {"!bytes": 5},
    {"!object": 10**12, "callable": True}, {"!object": "__class__"}, {"__class__": "int"},
    {"!tensor": base64.b64encode(struct.pack("<Q", 70) + json.dumps(
        {"value": {"dtype": "F64", "shape": [2**40, 2**20], "data_offsets": [0, 8]}}
    ).encode().ljust(70) + bytes(8)).decode()},
])
def lie(value, refer, depth=0):
    learner.encode = encode if depth else learner.encode
    return next(broken, 64)
encode, lies = learner.encode, lie
""",
            **{
                task: f"{source}\nlearner.encode = lies"
                for task, source in WRONG.items()
                if task != "price_of_w_o"
            },
            mha_parameters="learner.encode = encode\n" + HONEST["mha_parameters"],
        ),
        seen=(NO_ANSWER,),
        findings=("stopped",),
    ),
    Hostile(
        "objects that are not there",
        "A callable with the number of an object that nobody made, and a name of the judge's.",
        returning(
            "Odd()",
            WIRE
            + """
import mha_course.autograder.learner as learner
class Odd: pass
learner._Learner._refer = lambda self, value: {
    "!object": 10**6, "type": "Diagnosis", "shown": "\\ud800", "callable": False, "sequence": True,
}
""",
        ),
        solved=FIRST_ONLY,
    ),
    Hostile(
        "objects with code for whoever reads them",
        "An object that would write a file when it is unpickled, copied or compared.",
        returning(
            "Trap()",
            """
            import os
            class Trap:
                def __reduce__(self):
                    return (os.system, (f"touch {OUTSIDE}.pwned",))
                __deepcopy__ = __copy__ = __getstate__ = lambda self, *_: self.__reduce__()
            print("attacked")
            """,
        ),
    ),
    Hostile(
        "errors of the attacker's own making",
        "Answers that say that an error was raised, of classes that there are in the judge.",
        attack(
            WIRE
            + """
import mha_course.autograder.learner as learner
described = iter([
    {"classes": ["LearnerLost", "BaseException"], "message": "m", "frames": []},
    {"classes": ["KeyboardInterrupt", "SystemExit"], "message": "m", "frames": []},
    {"classes": ["eval", "__import__"], "message": "m", "frames": [[1, 1, "f"]]},
    {"classes": ["UnicodeDecodeError"], "message": "\\ud800", "frames": [[2, 10**9, "f(g)"]]},
    {"classes": [[]], "message": 3, "frames": {}},
    {"classes": ["ExceptionGroup", "x y"], "message": "m" * 10**6, "frames": [[-1, "1", None]]},
])
learner._described = lambda error: next(described, {"classes": [], "message": "", "frames": []})
""",
            **{
                task: source.replace("return", "raise ValueError; return")
                for task, source in WRONG.items()
            },
        ),
    ),
    Hostile(
        "outputs that are none",
        "Outputs of other kinds, with scripts, and with pictures that are none.",
        attack(
            """
            kept = get_ipython().collected
            print("attacked")
            kept.display("execute_result", {"text/html": "<script>alert(1)</script>",
                                            "application/javascript": "alert(1)"})
            kept.outputs.append({"output_type": "display_data", "metadata": {},
                                 "data": {"text/html": "<script>alert(1)</script>"}})
            """,
            last=[
                'get_ipython().collected.outputs.append({"output_type": "update_display_data"})',
                "get_ipython().collected.outputs.append({'output_type': 'display_data',"
                " 'data': {'image/png': 'PHN2Zz4='}})",
                "get_ipython().collected.outputs.append(7)",
                "get_ipython().collected.outputs = None",
            ],
        ),
        seen=("attacked", NO_ANSWER),
        findings=("stopped",),
    ),
    Hostile(
        "numbers that no one can read",
        "Numbers of thousands of digits, infinities, and halves of characters.",
        returning(
            "next(odd)",
            """
            import itertools
            odd = itertools.cycle([10**12_000, -(10**4_000), float("inf"), float("-inf"), -0.0,
                                   "\\ud800", "\\0", b"\\xff", True, 10**400, complex(1, 1)])
            print("attacked")
            """,
        ),
    ),
    Hostile(
        "a flood",
        "More than a hundred megabytes in the place of an answer.",
        attack(
            WIRE,
            head_dim="def head_dim(*_):\n    say(b' ' * 2**27)",
            attend="def attend(*_):\n    while True: wire.sendall(bytes(2**20))",
        ),
        seen=("attacked", "was announced"),
        findings=("stopped",),
    ),
    Hostile(
        "a trickle",
        "An answer that comes byte by byte, and never ends.",
        attack(
            WIRE,
            attend="""
                def attend(*_):
                    import signal
                    signal.signal(signal.SIGALRM, signal.SIG_IGN)
                    wire.sendall(struct.pack(">I", 1000))
                    while True:
                        wire.sendall(b" ")
                        time.sleep(0.1)
                """,
        ),
        seen=("attacked", "did not stop"),
        findings=("stopped",),
        cell_seconds=1.0,
    ),
    Hostile(
        "a closed connection",
        "Processes that hang up, in one or in both directions.",
        attack(
            WIRE,
            head_dim="def head_dim(*_):\n    wire.close()\n    return 3",
            attend="def attend(*_):\n    wire.shutdown(socket.SHUT_WR)",
            split_heads="os.closerange(0, 999)",
        ),
        seen=("attacked", ENDED),
        findings=("stopped",),
    ),
    Hostile(
        "a child that answers",
        "A process of its own that goes on answering when the first one has gone.",
        attack(
            WIRE
            + """
if os.fork():
    os._exit(0)
os.setsid()
""",
        ),
        seen=("attacked",),
    ),
    Hostile(
        "open files for the judge",
        "Descriptors that are sent along with answers, to use up those of the judge.",
        attack(
            WIRE
            + """
import array
zero = os.open("/dev/zero", os.O_RDONLY)
def send(message, *_):
    data = json.dumps(message).encode()
    passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [zero] * 200))]
    wire.sendmsg([struct.pack(">I", len(data))], passed)
    wire.sendall(data)
channel.send = send
"""
        ),
    ),
    Hostile(
        "the process itself",
        "A learner's process that answers every call with the number that is wanted most.",
        attack(
            """
            import mha_course.autograder.learner as learner
            learner._Learner._call = lambda self, asked: 1.0
            learner._Learner._name = lambda self, asked: [lambda *_, **__: 1.0]
            learner._Learner._answer = lambda self, asked: {
                "answers": asked["number"], "value": [1.0], "outputs": [],
            }
            print("attacked")
            """,
            head_dim="def head_dim(*_):\n    return 1",
        ),
        seen=(),
        solved=(),
    ),
]
