"""A request with the models of datamodel-code-generator: the input of a face swap is typed."""

import models

BODY = {"model": "Qubico/image-toolkit", "task_type": "face-swap"}
swap = models.TaskRequest.model_validate({**BODY, "input": {"target_image": "https://a", "swap_image": "https://b"}})
print(type(swap.root.root.input).__name__)
try:
    models.FaceSwapRequest.model_validate({**BODY, "input": {"target_image": "https://a"}})
except ValueError as error:
    print(error)
else:
    raise SystemExit("a face swap without the second picture was accepted")
