# Values as plain data. What arrives on the other side is made anew from builtin types: no object, no method and no overloaded
# operator of the sender crosses. Values that are not plain data stay where they are and cross as a number and whether they were true
# ({"o": [n, true]}). Python's own functions and types cross to the program by name ({"P": "int"}).
import builtins, collections, decimal, fractions, json, os, struct

DEEPEST = 48
MOST_ITEMS = 200000
VIEWS = {type({}.keys()): "k", type({}.values()): "v", type({}.items()): "y"}
SEQUENCES = ((list, None), (tuple, "t"), (set, "s"), (frozenset, "z"), (collections.deque, "q"))
ITERATORS = (type(iter([])), type(i for i in ()), map, filter, zip, enumerate, reversed, type(iter(range(0))), type(iter({})))


def read_frame(descriptor):
    def read(count):
        parts = []
        while count:
            part = os.read(descriptor, min(count, 1 << 16))
            if not part:
                os._exit(0)
            parts.append(part)
            count -= len(part)
        return b"".join(parts)
    return read(struct.unpack(">I", read(4))[0])


def write_frame(descriptor, value):
    data = json.dumps(value, separators=(",", ":")).encode("ascii")
    data = struct.pack(">I", len(data)) + data
    while data:
        data = data[os.write(descriptor, data):]


def encode(value, keep, depth=0):
    """JSON of a value; `keep` takes what is not plain data and gives its form."""
    if value is None or value is True or value is False:
        return value
    if depth > DEEPEST:
        raise ValueError("a value is nested more than %d deep, or in itself" % DEEPEST)
    kind = type(value)
    if isinstance(value, str):
        text = str.__str__(value) if kind is not str else value
        try:
            text.encode()
            return text
        except UnicodeEncodeError:
            return {"u": [ord(letter) for letter in text]}
    if isinstance(value, int):
        number = int(value) if kind is not int else value
        return number if -(1 << 53) < number < 1 << 53 else {"i": "%x" % number}
    if isinstance(value, float):
        return {"f": float.__repr__(value)}
    if isinstance(value, complex):
        return {"c": [float.__repr__(value.real), float.__repr__(value.imag)]}
    if isinstance(value, (bytes, bytearray)):
        return {"b" if isinstance(value, bytes) else "B": bytes(value).hex()}
    if isinstance(value, decimal.Decimal):
        return {"x": str(value)}
    if isinstance(value, fractions.Fraction):
        return {"F": ["%x" % value.numerator, "%x" % value.denominator]}
    if kind is range:
        return {"r": ["%x" % value.start, "%x" % value.stop, "%x" % value.step]}
    if isinstance(value, dict):
        return {"d": pairs(value.items(), keep, depth)}
    for family, tag in SEQUENCES:
        if isinstance(value, family):
            items = several(value, keep, depth)
            return items if tag is None else {tag: items}
    if kind in VIEWS:
        items = pairs(value, keep, depth) if VIEWS[kind] == "y" else several(value, keep, depth)
        return {VIEWS[kind]: items}
    if isinstance(value, ITERATORS):
        return {"n": several(value, keep, depth)}
    return keep(value)


def several(values, keep, depth):
    items = []
    for value in values:
        if len(items) == MOST_ITEMS:
            raise ValueError("a value has more than %d items" % MOST_ITEMS)
        items.append(encode(value, keep, depth + 1))
    return items


def pairs(values, keep, depth):
    return [[encode(key, keep, depth + 1), encode(value, keep, depth + 1)] for key, value in values]


def decode(form, find):
    """The value of a form; `find` gives what a number of the other side's objects stands for."""
    if isinstance(form, list):
        return [decode(item, find) for item in form]
    if not isinstance(form, dict):
        return form
    (tag, inner), = form.items()
    if tag in "tszqnkv":
        items = [decode(item, find) for item in inner]
        if tag == "t":
            return tuple(items)
        if tag == "s":
            return set(items)
        if tag == "z":
            return frozenset(items)
        if tag == "q":
            return collections.deque(items)
        if tag == "n":
            return iter(items)
        return dict.fromkeys(items).keys() if tag == "k" else dict(enumerate(items)).values()
    if tag in "dy":
        table = {decode(key, find): decode(value, find) for key, value in inner}
        return table if tag == "d" else table.items()
    if tag == "f":
        return float(inner)
    if tag == "c":
        return complex(float(inner[0]), float(inner[1]))
    if tag == "i":
        return int(inner, 16)
    if tag == "u":
        return "".join(map(chr, inner))
    if tag in "bB":
        data = bytes.fromhex(inner)
        return data if tag == "b" else bytearray(data)
    if tag == "x":
        return decimal.Decimal(inner)
    if tag == "F":
        return fractions.Fraction(int(inner[0], 16), int(inner[1], 16))
    if tag == "P":
        return getattr(builtins, inner)
    if tag == "r":
        return range(*(int(part, 16) for part in inner))
    return find(form)
