"""stand-in until the real one is merged"""
from pointcoc.models.weights import find_transform, ImageTransform
def image_transform(source, in_channels=3):
    from timm.data import create_transform
    from torchvision import transforms
    t=find_transform(source.config, source.weights_info) or ImageTransform()
    c=source.config.in_channels
    s=create_transform((c,*t.input_size),interpolation=t.interpolation,crop_pct=t.crop_pct,mean=t.mean,std=t.std)
    return transforms.Compose([transforms.Grayscale(c),s]) if c==1 else s
