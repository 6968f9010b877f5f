// A request with the types of openapi-typescript and of @hey-api/openapi-ts: the input of a face swap is typed.
import type { components } from "./openapi-typescript";
import type { TaskRequest } from "./hey-api";

const swap: components["schemas"]["TaskRequest"] & TaskRequest = {
  model: "Qubico/image-toolkit",
  task_type: "face-swap",
  input: { target_image: "https://example.com/a.png", swap_image: "https://example.com/b.png" },
};

// @ts-expect-error: a picture is missing
export const oneSided: components["schemas"]["FaceSwapRequest"] = { ...swap, input: { target_image: "https://example.com/a.png" } };

// @ts-expect-error: a number is not a picture
export const wrong: TaskRequest = { model: "Qubico/image-toolkit", task_type: "face-swap", input: { target_image: 1, swap_image: "b" } };

export default swap;
