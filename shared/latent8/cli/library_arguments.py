"""Arguments of `latent8 library`: a library of latents."""

from __future__ import annotations

import argparse

from latent8.cli.arguments import Commands, add_command, positive

DESCRIPTION = """\
A library of latents: pictures found by what they look like, in a folder or on a Qdrant server. Each verb has its own
--help."""
EXAMPLES = (
    "latent8 library add photos.library holiday            photos and blobs of a folder",
    "latent8 library search photos.library beach.jpg -k 9  the nine pictures most like this one",
)


def add_to(commands: Commands) -> None:
    """Add the command `library` with its verbs."""
    summary = "a library of latents: pictures found by what they look like"
    library = add_command(commands, "library", _run, summary, DESCRIPTION, EXAMPLES)
    verbs = library.add_subparsers(required=True, metavar="VERB")
    where = "folder of the library, or URL of a Qdrant server's collection (http://host:6333/name)"

    def verb(name: str, text: str, place: bool = True) -> argparse.ArgumentParser:
        parser = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if place:
            parser.add_argument("library", metavar="LIB", help=where)
        parser.set_defaults(run=_run, verb=name)
        return parser

    add = verb("add", "add photos, blobs, and folders and ZIPs of them; goes on where a run has stopped")
    add.add_argument("sources", nargs="+", metavar="FILE", help="photos, blobs, folders, ZIPs, or a bulk job's index")
    add.add_argument("--quality", type=_percent, help="of the blobs of photos, 1 to 100 (default: 50)")
    add.add_argument("--copy", action="store_true", help="keep blobs in the library too, not only where they are")
    add.add_argument(
        "--inline", action="store_true", help="keep blobs in the records: for servers without shared disks"
    )
    add.add_argument("--vector", choices=("picture", "latents"), help="of a new library (default: picture)")

    search = verb("search", "find the pictures most like a photo or blob")
    search.add_argument("query", metavar="PICTURE", help="photo or blob")
    search.add_argument("-k", type=positive, default=5, help="how many (default: 5)")
    search.add_argument("--any-orientation", action="store_true", help="the query may be mirrored or turned")
    search.add_argument("--min-score", type=_score, metavar="S", help="cosine, -1 to 1, below which nothing is shown")
    search.add_argument("--exact", action="store_true", help="compare with every picture, without the index")
    search.add_argument("-o", "--output", metavar="PICTURE", help="a sheet of what was found, decoded")

    listing = verb("list", "names and sizes of all pictures")
    show = verb("show", "all that is known of pictures")
    remove = verb("remove", "forget pictures, and delete the blobs that the library keeps of them")
    for parser in (show, remove):
        parser.add_argument("names", nargs="+", metavar="NAME", help="name, path, id, or first 8 digits of the SHA-256")

    duplicates = verb("duplicates", "groups of pictures that are likely one, edited")
    duplicates.add_argument("--min-score", type=_score, default=0.85, metavar="S", help="cosine (default: 0.85)")
    duplicates.add_argument("-o", "--output", metavar="CSV", help="the same as a table")

    check = verb("check", "whether every blob is there and unchanged, and the index whole")
    reindex = verb("reindex", "make the index anew: for another engine version, other vectors, or after damage")
    reindex.add_argument("--vector", choices=("picture", "latents"), help="change to these vectors")

    export = verb("export", "a table, or blobs or pictures in a folder or ZIP")
    export.add_argument("-o", "--output", required=True, metavar="TARGET", help="NAME.csv, NAME.zip, or a folder")
    export.add_argument("--what", choices=("blobs", "pictures"), help="in a folder or ZIP (default: blobs)")
    export.add_argument("--like", metavar="PICTURE", help="only the most similar ones to this photo or blob")
    export.add_argument("-k", type=positive, default=50, help="how many of those (default: 50)")

    evaluate = verb("evaluate", "tables of bytes, times, similarity and recall on a folder of photos", place=False)
    evaluate.add_argument("folder", metavar="PHOTOS")
    evaluate.add_argument("-o", "--output", metavar="FOLDER", help="for tables and plots (default: PHOTOS.evaluation)")
    evaluate.add_argument("--url", help="of a Qdrant server, for the times of its vector store too")

    for parser in (search, listing, show, duplicates):
        parser.add_argument("--json", action="store_true", help="one JSON object a line")
    for parser in (add, search, export, reindex, evaluate):
        parser.add_argument("--device", help="cpu, cuda or mps (default: the best there is)")
    add.add_argument("--blobs", metavar="FOLDER", help="of a server's library: shared folder for the blobs of photos")
    for parser in (search, show, remove, check, export):
        parser.add_argument("--blobs", metavar="FOLDER", help="of a server's library: where it was added with that")


def _run(args: argparse.Namespace) -> int:
    from latent8.cli import library_commands

    return library_commands.RUNS[args.verb](args)


def _percent(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 100")
    return int(text)


def _score(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 2.0
    if not -1 <= value <= 1:
        raise argparse.ArgumentTypeError("must be a number from -1 to 1")
    return value
