# One small change to a program, chosen by a seed. Reads {"id", "source", "after"} a line (lines up to `after` stay); writes {"id", "mutants": [{"what", "source"}]} a line, each
# mutant with one change, in the order in which they are to be tried.
import ast, copy, json, random, sys

SWAPS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift, ast.And: ast.Or, ast.Or: ast.And,
}


def changes(node):
    """Ways to change a node in place: a name, and what to do."""
    def setter(field, value):
        return lambda: setattr(node, field, value)
    if isinstance(node, ast.Compare):
        swap = SWAPS[type(node.ops[0])]
        yield "%s to %s" % (type(node.ops[0]).__name__, swap.__name__), lambda: node.ops.__setitem__(0, swap())
    if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(node.op) in SWAPS:
        swap = SWAPS[type(node.op)]
        yield "%s to %s" % (type(node.op).__name__, swap.__name__), setter("op", swap())
    if isinstance(node, ast.Constant) and not getattr(node, "document", False):
        if type(node.value) is int:
            yield "%d to %d" % (node.value, node.value + 1), setter("value", node.value + 1)
        if type(node.value) is bool:
            yield "%s to %s" % (node.value, not node.value), setter("value", not node.value)
        if type(node.value) is str:
            yield "a text gets a letter more", setter("value", node.value + "q")
    if isinstance(node, ast.Return) and node.value is not None:
        yield "returns nothing", setter("value", ast.Constant(None))
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):
        yield "the condition is turned round", setter("test", ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.Call) and len(node.args) > 1:
        yield "two arguments change places", lambda: node.args.__setitem__(slice(0, 2), node.args[1::-1])
    if isinstance(node, (ast.Assign, ast.AugAssign)) and isinstance(getattr(node, "value", None), ast.expr):
        yield "the value is nothing", setter("value", ast.Constant(None))


def mutants(source, after, seed, most):
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body[0].value.document = True
    sites = [(at, way) for at, node in enumerate(ast.walk(tree)) if getattr(node, "lineno", 0) > after for way, _ in enumerate(changes(node))]
    random.Random(seed).shuffle(sites)
    for at, way in sites[:most]:
        changed = copy.deepcopy(tree)
        node = list(ast.walk(changed))[at]
        what, change = list(changes(node))[way]
        change()
        yield {"what": "line %d: %s" % (getattr(node, "lineno", 0), what), "source": ast.unparse(ast.fix_missing_locations(changed))}


seed, most = int(sys.argv[1]), int(sys.argv[2])
for line in sys.stdin:
    row = json.loads(line)
    found = list(mutants(row["source"], row["after"], "%d %s" % (seed, row["id"]), most))
    print(json.dumps({"id": row["id"], "mutants": found}))
