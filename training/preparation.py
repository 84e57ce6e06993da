"""What precedes the verbs of gan.py: the constants of a resumed run, the data, and mistakes.

None of it needs TensorFlow, which takes seconds to load: a mistake is answered at once.
"""
import os

import args as constants
import data
from training import checkpoints


def prepare(args, verbs=()):
    """Completes the constants and the verbs, makes `data` for a training, and checks files.

    Args:
        args: the constants, a class of args.py.
        verbs: names of functions of gan.py. The default is to train, after pretraining if
            `pretrain_batches` > 0 and there are neither checkpoints nor `weights` to start from.

    Returns:
        (args, verbs) to run.

    Raises:
        FileNotFoundError: if there are no images, no photos or no checkpoint.
        ValueError: if the constants are invalid, or the run was begun with others.
    """
    trains = not verbs or "pretrain_gen" in verbs or "train_gan" in verbs
    named = resume_constants(args)  # before toy faces may take the place of missing images
    args = with_data(named, trains)
    constants.check(args)
    if trains and args.images != named.images:
        print(f"There is no {named.data}, and no image in {named.images}: using toy faces. "
              "For your own images: python data.py images=my-faces")
    for warning in constants.warnings(args):
        print(warning)
    run = checkpoints.run_folder(args)
    if not verbs:
        has_weights = args.weights or checkpoints.checkpoints(run)
        pretrains = args.pretrain_batches and not has_weights
        verbs = ["pretrain_gen", "train_gan"] if pretrains else ["train_gan"]
    if trains:
        checkpoints.check_record(run, {"constants": constants.constants(args)})
        checkpoints.check_resumable(run)
        if args.weights and not checkpoints.read_record(run):
            checkpoints.check_file(checkpoints.weights_path(args.weights))
        prepare_data(args)
    else:
        check_checkpoints(args, verbs)
    if "generate" in verbs and args.photos:
        data.paths_of(args, "generate_from")
    if "generate" in verbs and "train_gan" in verbs:
        checkpoints.check_generate_class(args, class_names(args))
    return args, verbs


def check_checkpoints(args, verbs):
    """Checks that there are checkpoints for the verbs, and the one that `generate` is to use.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if a file holds no weights, or `generate_class` is not a class of its run.
    """
    found = checkpoints.chosen_checkpoints(args)
    checkpoints.check_file(found[-1])
    if "generate" in verbs:
        checkpoints.class_names_of(args, found[-1])
        if args.checkpoint.isdecimal():
            checkpoints.checkpoint_of_batch(args, found)


def resume_constants(args):
    """Returns `args` on top of the preset and overrides that the run was begun with, if any."""
    run = checkpoints.run_folder(args)
    begun = checkpoints.read_record(run)
    if not begun:
        return args
    if begun["preset"] not in constants.presets():
        raise ValueError(f"{run} was begun with a preset that is not in args.py. Restore it, "
                         f"or choose another `name`. Received: {begun['preset']}")
    if constants.preset_name(args) not in ("Args", begun["preset"]):
        return args  # another preset is named: `check_record` will list the differences
    given = constants.overrides(args)
    remembered = {}
    for name, value in begun["overrides"].items():
        if name not in given:
            remembered[name] = tuple(value) if isinstance(value, list) else value
    if remembered or constants.preset_name(args) != begun["preset"]:
        listed = " ".join(f"{name}={value}" for name, value in remembered.items())
        print(f"{run}: using the constants it was begun with: {begun['preset']} {listed}".rstrip())
    preset = constants.presets()[begun["preset"]]
    return constants.override(preset, **remembered, **given)


def with_data(args, trains):
    """Returns `args`, or the constants of the run on toy faces if a new run would have no data.

    Sampling from `weights` needs no data, and without a run on toy faces there is none to sample
    from.
    """
    if _is_begun(args) or (args.weights and not trains):
        return args
    on_toys = resume_constants(choose_data(args))
    return on_toys if trains or _is_begun(on_toys) else args


def _is_begun(args):
    """Returns whether the run has checkpoints."""
    return bool(checkpoints.read_record(checkpoints.run_folder(args)))


def choose_data(args):
    """Returns `args`, with toy faces as data if there are no images and none were named.

    Their run has a name of its own: with images, the same command begins another one.
    """
    has_data = (os.path.exists(args.data) or args.images in data.EMBEDDED
                or data.find_files(args.images))
    is_default = args.images == constants.Args.images and args.data == constants.Args.data
    if has_data or not is_default:
        return args
    if constants.preset_name(args) == "Args":
        return constants.override(constants.ToyFaces, **constants.overrides(args))
    toys = constants.ToyFaces
    changes = {"images": toys.images, "data": toys.data, "dataset_size": toys.dataset_size}
    if "name" not in constants.overrides(args):
        changes["name"] = f"{args.name}-toyfaces"
    return constants.override(args, **changes)


def prepare_data(args):
    """Makes `data` if it is missing, or if an embedded dataset has another size or seed.

    Raises:
        ValueError: if `data` was made from other images or photos than the constants name. A
            `data` that was named on the command line is used as it is.
    """
    if not os.path.exists(args.data):
        print(f"There is no {args.data}: making it of {args.images}.")
        data.make(args)
        return
    origin = data.attributes(args)
    source = origin.get("images", "unknown images")
    if "data" not in constants.overrides(args):
        same_images = args.images in (constants.Args.images, source)
        if not same_images or args.photos != origin.get("photos", ""):
            photos = f" photos='{args.photos}'" if args.photos else ""
            raise ValueError("`data` was made from other images. Name another `data`, or make it "
                             f"again with python data.py {constants.preset_name(args)} "
                             f"images='{args.images}'{photos}. Received: "
                             f"images={args.images}, photos={args.photos!r}, data={args.data}, "
                             f"made from {source} and photos {origin.get('photos', '')!r}")
        if args.images in data.EMBEDDED:
            for name in ("dataset_size", "seed"):
                if origin.get(name, getattr(args, name)) != getattr(args, name):
                    print(f"{args.data} was made with {name}={origin[name]}: making it again.")
                    data.make(args)
                    return
    print(f"{args.data}, made from {source}")
    if origin.get("crop", args.crop) != args.crop:
        print(f"crop={args.crop} has no effect: {args.data} was made with crop={origin['crop']}")


def class_names(args):
    """Returns the names of the classes in `data` if `conditional`, else []."""
    return data.labels(args)[1] if args.conditional else []
