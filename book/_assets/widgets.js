// The Jupyter widget manager was written for MathJax 2 and calls MathJax.Hub.Queue(["Typeset", hub, element]);
// on a page that has both formulas and widgets, MathJax 3 without this function stops every widget.
document.addEventListener("DOMContentLoaded", () => {
  const mathjax = window.MathJax;
  if (!mathjax || mathjax.Hub || !mathjax.startup) {
    return;
  }
  mathjax.Hub = {
    Queue: ([, , element]) => mathjax.startup.promise.then(() => mathjax.typesetPromise([element])),
  };
});
