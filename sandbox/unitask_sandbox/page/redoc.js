// The reference at /docs: docs/openapi.json, rendered by Redoc, with a section for each family of task types.
// The site of the documentation has it too, as a script that is no module.

(async () => {
  const read = async (address) => (await fetch(address)).json();
  const [shown, bundle] = await Promise.all([read("_sandbox/page/openapi.json"), read("openapi.json")]);

  const create = shown.paths["/api/v1/task"].post;
  create.tags = ["task"]; // Redoc would repeat the operation for each family
  for (const tag of shown.tags) {
    const schemas = bundle["x-tasks"]
      .filter((task) => task.family === tag.name && !task.create) // legacy tasks are operations already
      .map((task) => `${task.name}Request`)
      .filter((name) => name in shown.components.schemas); // several classes of one task type share one
    if (schemas.length) {
      tag["x-traitTag"] = true; // a section without operations
      tag.description = schemas
        .map((name) => [
          `## ${name}`,
          shown.components.schemas[name].description,
          `<SchemaDefinition schemaRef="#/components/schemas/${name}" />`,
        ])
        .flat()
        .join("\n\n");
    }
  }

  // The logo in Redoc's footer is on another host, and the policy of this page blocks it: no picture gets such a source.
  const image = HTMLImageElement.prototype;
  const source = Object.getOwnPropertyDescriptor(image, "src");
  const isOurs = (value) => new URL(value, location).origin === location.origin;
  Object.defineProperty(image, "src", {
    ...source,
    set(value) {
      if (isOurs(value)) source.set.call(this, value);
    },
  });
  image.setAttribute = function (name, value) {
    if (name !== "src" || isOurs(value)) Element.prototype.setAttribute.call(this, name, value);
  };

  window.Redoc.init(
    shown,
    { schemasExpansionLevel: 2, requiredPropsFirst: true },
    document.getElementById("reference"),
  );
})();
