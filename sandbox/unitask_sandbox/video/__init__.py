"""The mathematics of the video tools: frames in and out, faces followed from frame to frame, frames enlarged.

Frames are arrays as in `unitask_sandbox.faces`. Everything here but `errors` needs PyAV, which the extra
``sandbox-video`` brings.
"""
