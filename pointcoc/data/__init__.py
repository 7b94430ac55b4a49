"""Data sets of images and point sets, and what brings them into a batch."""

from pointcoc.data.cloud import Cloud
from pointcoc.data.cloud_files import read_cloud, write_cloud
from pointcoc.data.cloud_folder import CloudFolder
from pointcoc.data.clouds import HDF5Clouds
from pointcoc.data.coco import CocoImages, MirrorObjects
from pointcoc.data.collate import collate_sets
from pointcoc.data.digits import DigitImages, DigitInk, digits, ink_points
from pointcoc.data.image_files import open_image, read_image
from pointcoc.data.image_transform import image_transform
from pointcoc.data.images import image_folder
from pointcoc.data.labeled_images import LabeledImages
from pointcoc.data.mask_folder import IGNORE, MaskFolder
from pointcoc.data.mask_transforms import PlainMask, RandomMask
from pointcoc.data.part_clouds import HDF5Parts, collate_parts, collate_points
from pointcoc.data.part_shapes import part_shapes, write_part_shapes
from pointcoc.data.part_text import convert_part_text
from pointcoc.data.prepare import PrepareCloud
from pointcoc.data.rand_augment import keep_posterize_bits
from pointcoc.data.random_scene import DescribedScenes, RandomScene
from pointcoc.data.scanobjectnn import ScanObjectNN
from pointcoc.data.scene_features import auto_voxels, height_above_ground, local_normals, local_shape, median_spacing
from pointcoc.data.scene_input import SceneInput
from pointcoc.data.scene_labels import parse_labels
from pointcoc.data.scene_survey import SceneSurvey, survey_scenes
from pointcoc.data.scenes import SceneFolder
from pointcoc.data.shapes import shapes, write_shapes
from pointcoc.data.sources import HubImages, ShardImages
from pointcoc.data.splits import split_validation
from pointcoc.data.yolo import YoloImages

__all__ = [
    "IGNORE",
    "Cloud",
    "CloudFolder",
    "CocoImages",
    "DescribedScenes",
    "DigitImages",
    "DigitInk",
    "HDF5Clouds",
    "HDF5Parts",
    "HubImages",
    "LabeledImages",
    "MaskFolder",
    "MirrorObjects",
    "PlainMask",
    "PrepareCloud",
    "RandomMask",
    "RandomScene",
    "ScanObjectNN",
    "SceneFolder",
    "SceneInput",
    "SceneSurvey",
    "ShardImages",
    "YoloImages",
    "auto_voxels",
    "collate_parts",
    "collate_points",
    "collate_sets",
    "convert_part_text",
    "digits",
    "height_above_ground",
    "image_folder",
    "image_transform",
    "ink_points",
    "keep_posterize_bits",
    "local_normals",
    "local_shape",
    "median_spacing",
    "open_image",
    "parse_labels",
    "part_shapes",
    "read_cloud",
    "read_image",
    "shapes",
    "split_validation",
    "survey_scenes",
    "write_cloud",
    "write_part_shapes",
    "write_shapes",
]
