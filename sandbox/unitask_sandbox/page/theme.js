// Set the chosen colours, or those of the system, before the first paint.
document.documentElement.dataset.theme = localStorage.getItem("theme") ?? "";
