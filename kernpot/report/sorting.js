document.querySelectorAll("table.sorts th").forEach(function (heading, column) {
  var down = false;
  heading.addEventListener("click", function () {
    var body = heading.closest("table").tBodies[0];
    var value = function (row) { return row.cells[column].dataset.value || row.cells[column].textContent; };
    down = !down;
    Array.from(body.rows).sort(function (one, other) {
      var a = value(one), b = value(other), difference = a - b;
      var order = isNaN(difference) ? a.localeCompare(b) : difference;
      return down ? -order : order;
    }).forEach(function (row) { body.appendChild(row); });
  });
});
