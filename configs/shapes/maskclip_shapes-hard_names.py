"""MaskCLIP on the hard shapes world, background by the names of all backgrounds."""

_base_ = './maskclip_shapes-hard.py'

model = dict(decode_head=dict(background_threshold=None))
custom_hooks = [
    dict(
        type='ClassNamesHook',
        class_names=[
            'grass|sand|sky|bricks|water|snow|stone',
            *('star', 'heart', 'tree', 'house', 'boat', 'fish', 'moon', 'mushroom'),
            *('ring', 'arrow', 'cup', 'flower', 'bird', 'crown', 'bottle', 'car'),
        ],
    )
]
