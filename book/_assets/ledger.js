// Filters the ledger's rows by source and verdict. Without JavaScript the form stays hidden and all rows show.
(() => {
  const form = document.querySelector("form.ledger-filter");
  if (!form) return;
  const rows = [...document.querySelectorAll("tr.ledger-row")];
  const selects = [...form.querySelectorAll("select")];
  const output = form.querySelector("output");
  const apply = () => {
    const wanted = selects.map((select) => select.value).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !wanted.every((name) => row.classList.contains(name));
      shown += row.hidden ? 0 : 1;
    }
    output.textContent = `${shown} of ${rows.length} claims`;
  };
  form.addEventListener("change", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  apply();
})();
