// Before anything is painted: the colours that were chosen, if any were; else those of the system.
document.documentElement.dataset.theme = localStorage.getItem("theme") ?? "";
