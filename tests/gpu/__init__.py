"""What only a real GPU can prove. Elsewhere every test skips itself and says why.

Where torch, Triton and an engine are installed beside each other, in the repository's root:

    python -m pytest tests/gpu -rs

Where torch or Triton is missing, take what they make along from a machine that has them. tests/conftest.py imports
torch and must stay out; the tests here need nothing of it:

    PYTHONPATH=tests/helpers python tests/gpu/prepare.py FOLDER --sm 90
    FCNRT_GPU_MODELS=FOLDER python -m pytest --confcutdir=tests/gpu tests/gpu -rs

Other packages than in constraints.txt may warn, which is an error by default; `-W default` lets them. Part of it:
`-k tensorrt`, `-k "onnxruntime and caffe"`, or one file, say tests/gpu/test_real_kernels.py, which needs no engine.

An engine that is not installed skips its tests alone, and so does a library of device arrays. torch also stands in for
an engine, so that everything around one is tested on machines that have torch and no engine.
"""
