# The side of the tests. It runs the row's own test code and nothing of the program: where a test calls the program, a stand-in
# sends plain data out and receives plain data back.
import ast, random, sys, traceback


class Gone(BaseException):
    """The program is no more. Not an Exception, so that no test takes it for an answer."""


class ProgramError(Exception):
    """An exception of the program that is none of Python's own."""


# Exceptions that steer the interpreter, and so a test, are not passed on: a StopIteration would end a test's loop early.
STEERING = (StopIteration, StopAsyncIteration)
KNOWN = {
    name: kind for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, STEERING)
}


class Link:
    """The way to the program."""

    def __init__(self, frames_in, frames_out):
        self.frames_in, self.frames_out = frames_in, frames_out
        self.asked, self.gone, self.last = 0, False, None

    def ask(self, request):
        if self.gone:
            raise Gone()
        self.asked += 1
        write_frame(self.frames_out, {"ask": request})
        reply = json.loads(read_frame(self.frames_in))
        if "gone" in reply:
            self.gone = True
            raise Gone()
        if "e" in reply:
            name, text, _ = reply["e"]
            self.last = "%s: %s" % (name, text)
            kind = KNOWN.get(name, ProgramError)
            try:
                error = kind(text)
            except Exception:
                error = ProgramError("%s: %s" % (name, text))
            raise error
        try:
            value = decode(reply["v"], lambda form: Thing(self, form))
        except Exception:
            raise ProgramError("the program answered with a value that cannot be made") from None
        self.last = shown(value)
        return value


def shown(value):
    try:
        return repr(value)[:200]
    except Exception:
        return "a value that cannot be shown"


def form_of(value):
    if isinstance(value, Thing):
        return object.__getattribute__(value, "form")
    name = getattr(value, "__name__", "")
    if name and vars(builtins).get(name) is value:
        return {"P": name}
    raise NotPlain("a test hands the program a %s, which is not plain data" % type(value).__name__)


class NotPlain(TypeError):
    """The test's own fault."""


class Thing:
    """A function, class or object of the program. It can be called and passed on and has attributes, and it is as true as it was
    when it came. It equals nothing and has no length: no test can pass on what the program says about its own operators."""

    def __init__(self, link, form):
        object.__setattr__(self, "link", link)
        object.__setattr__(self, "form", form)

    def __call__(self, *arguments, **named):
        link, form = object.__getattribute__(self, "link"), object.__getattribute__(self, "form")
        return link.ask({
            "op": "call", "on": form, "arguments": encode(list(arguments), form_of),
            "named": {key: encode(value, form_of) for key, value in named.items()},
        })

    def __getattribute__(self, name):
        if name.startswith("__") or "g" in object.__getattribute__(self, "form"):
            return object.__getattribute__(self, name)
        link, form = object.__getattribute__(self, "link"), object.__getattribute__(self, "form")
        return link.ask({"op": "get", "on": form, "name": name})

    def __setattr__(self, name, value):
        link, form = object.__getattribute__(self, "link"), object.__getattribute__(self, "form")
        link.ask({"op": "set", "on": form, "name": name, "value": encode(value, form_of)})

    def __bool__(self):
        form = object.__getattribute__(self, "form")
        return form["o"][1] if "o" in form else True

    def refuse(self, *_):
        raise ProgramError("the program answered with an object where a test needs plain data")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = __len__ = __iter__ = __contains__ = refuse
    __getitem__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __mod__ = __rmod__ = __neg__ = __abs__ = refuse
    __int__ = __float__ = __index__ = __str__ = __format__ = __round__ = __reduce_ex__ = __instancecheck__ = refuse

    def __repr__(self):
        return "an object of the program"


def free_names(sources, scope):
    """Names that tests call, and names whose attributes they use, where nothing defines them."""
    called, used, defined = set(), set(), set(scope) | set(vars(builtins))
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                called.add(node.func.id)
            if isinstance(node, ast.Name):
                (used if isinstance(node.ctx, ast.Load) else defined).add(node.id)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                defined.add(node.name)
            if isinstance(node, ast.arg):
                defined.add(node.arg)
            if isinstance(node, ast.alias):
                defined.add((node.asname or node.name).split(".")[0])
            if type(node).__name__ in ("ExceptHandler", "MatchAs", "MatchStar") and node.name:
                defined.add(node.name)
    if not called - defined and not scope.get("candidate"):
        defined -= replaced(sources)
    modules = {name for name in used - called - defined if name in getattr(sys, "stdlib_module_names", ())}
    return (called | used) - defined - modules, modules


def replaced(sources):
    """The one name that every assert calls first: where tests call nothing else, the program replaces a function of Python's own."""
    first = set()
    for source in sources:
        for node in ast.parse(source).body:
            if isinstance(node, ast.Assert):
                names = [call.func.id for call in ast.walk(node.test) if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)]
                first.add(names[0] if names else None)
    return first if len(first) == 1 else set()


def where(error):
    """The last line of a test that led to the error."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith("<tests")]
    return (lines[-1].filename, lines[-1].lineno) if lines else None


def line_of(place, sources):
    if place is None:
        return ""
    lines = sources.get(place[0], "").splitlines()
    return lines[place[1] - 1].strip() if 0 < place[1] <= len(lines) else ""


def main(frames_in, frames_out):
    write_frame(frames_out, "entered")
    task = json.loads(read_frame(frames_in))
    link = Link(frames_in, frames_out)
    random.seed(0)
    scope, sources = {"__name__": "tests"}, {}

    def run(source, name):
        sources[name] = source
        exec(compile(source, name, "exec", dont_inherit=True), scope)

    try:
        run(task["prefix"], "<tests: prompt>")
        if task["entry"]:
            scope[task["entry"]] = scope["candidate"] = Thing(link, {"g": task["entry"]})
        names, modules = free_names([*task["setup"], *task["tests"]], scope)
        for name in modules:
            scope[name] = __import__(name)
        if task["entry"] and names:
            raise NameError("nothing defines %s" % ", ".join(sorted(names)))
        for name in names:
            scope[name] = Thing(link, {"g": name})
        for number, source in enumerate(task["setup"]):
            run(source, "<tests: setup %d>" % number)
    except Gone:
        write_frame(frames_out, {"passed": 0, "failed": []})
        return
    except BaseException as error:
        text = "%s: %s" % (type(error).__name__, error)
        write_frame(frames_out, {"broken" if not link.asked or isinstance(error, NotPlain) else "unset": text[:500]})
        return
    passed, failed = 0, []
    for number, source in enumerate(task["tests"]):
        try:
            run(source, "<tests: %d>" % number)
            if not link.gone:
                passed += 1
                continue
            failed.append([number, "", ""])
        except Gone:
            failed.append([number, "", ""])
        except BaseException as error:
            if isinstance(error, NotPlain) or not link.asked:
                write_frame(frames_out, {"broken": ("%s: %s" % (type(error).__name__, error))[:500]})
                return
            kind = "" if isinstance(error, AssertionError) else "%s: %s" % (type(error).__name__, error)
            failed.append([number, line_of(where(error), sources)[:300], (kind or "the last call gave %s" % link.last)[:300]])
        if task["stop"]:
            break
    write_frame(frames_out, {"passed": passed, "failed": failed})
