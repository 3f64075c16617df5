# Says which files this interpreter needs: itself, its standard library, and every shared library that any module maps.
import json, os, sys, sysconfig, warnings

warnings.simplefilter("ignore")
executable = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
paths = sysconfig.get_paths()
folders = sorted({os.path.realpath(paths[key]) for key in ("stdlib", "platstdlib") if os.path.isdir(paths[key])})
extensions = tuple(__import__("importlib.machinery").machinery.EXTENSION_SUFFIXES)
for folder in folders:
    dynload = os.path.join(folder, "lib-dynload")
    for name in sorted(os.listdir(dynload)) if os.path.isdir(dynload) else []:
        module = name.split(".")[0]
        if name.endswith(extensions) and not module.startswith(("_test", "_tkinter", "_xx", "xx", "readline")):
            try:
                __import__(module)
            except Exception:
                pass
inside = lambda path: any(path.startswith(folder + "/") for folder in folders)
mapped = set()
with open("/proc/self/maps") as maps:
    for line in maps:
        path = line.split(None, 5)[-1].strip()
        if path.startswith("/") and os.path.isfile(path) and path.split("/")[1] not in ("proc", "dev", "memfd:"):
            mapped.add(os.path.realpath(path))
files = sorted(path for path in mapped if not inside(path) and (".so" in path or path == executable)) 
if executable not in files:
    files.append(executable)
links, places = [], {os.path.dirname(path) for path in files} | {"/lib", "/lib64", "/usr/lib", "/usr/lib64"}
for place in sorted(places):
    if os.path.islink(place):
        links.append([place, os.readlink(place)])
for place in sorted({os.path.realpath(place) for place in places if os.path.isdir(place)}):
    for entry in os.scandir(place):
        if entry.is_symlink() and os.path.realpath(entry.path) in files and ".so" in entry.name:
            links.append([entry.path, os.path.realpath(entry.path)])
hidden = [os.path.join(folder, name) for folder in folders for name in ("site-packages", "dist-packages")]
print(json.dumps({
    "executable": executable,
    "version": sys.version.split()[0],
    "folders": folders,
    "hidden": [path for path in hidden if os.path.isdir(path)],
    "files": files,
    "links": links,
}))
