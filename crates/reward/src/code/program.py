# The side of the program under test. Everything here can be read, changed and forged by the program; so nothing here is believed.
# What it holds back from the program is only what never enters this process: the tests and the values they expect.
import sys, types


def load(source, name):
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(source, "<program>", "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


def told(error):
    """An exception as its type, its words and the line of the program."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<program>":
            line = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename == "<program>":
        line = error.lineno
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return [type(error).__name__, text[:2000].encode("utf-8", "replace").decode(), line]


def script(task, frames_out):
    """A whole program that reads stdin and writes stdout."""
    code = 0
    try:
        load(task["source"], "__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException as error:
        write_frame(frames_out, {"e": told(error)})
        code = 1
    try:
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        sys.stdout.flush()
    except BaseException:
        code = code or 1
    os._exit(code & 255)


def functions(task, frames_in, frames_out):
    """Functions that are called from outside."""
    objects = []

    def keep(value):
        objects.append(value)
        return {"o": [len(objects) - 1, bool(value)]}

    def find(form):
        if "o" in form:
            return objects[form["o"][0]]
        if form["g"] not in scope:
            raise NameError("name %r is not defined" % form["g"])
        return scope[form["g"]]

    def answer(nonce, act):
        try:
            reply = {"n": nonce, "v": encode(act(), keep)}
        except Exception as error:
            reply = {"n": nonce, "e": told(error)}
        except BaseException:
            os._exit(1)
        write_frame(frames_out, reply)

    scope = {}
    answer(task["nonce"], lambda: scope.update(load(task["source"], "program")))
    while True:
        ask = json.loads(read_frame(frames_in))
        take = lambda name: decode(ask[name], find)

        def act():
            if ask["op"] == "call":
                return take("on")(*take("arguments"), **{key: decode(value, find) for key, value in ask["named"].items()})
            if ask["op"] == "get":
                return getattr(take("on"), ask["name"])
            return setattr(take("on"), ask["name"], take("value"))

        answer(ask["nonce"], act)


def main(frames_in, frames_out):
    write_frame(frames_out, "entered")
    task = json.loads(read_frame(frames_in))
    if "random" in sys.modules:
        sys.modules["random"].seed(0)
    if task["script"]:
        script(task, frames_out)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    functions(task, frames_in, frames_out)
