"""The video tools on the CPU: frames in and out, faces followed from frame to frame, frames enlarged."""
