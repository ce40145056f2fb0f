// Which words differ between two texts. Words are compared, not letters; signs of CJK scripts are words each.
"use strict";

const cai = {}; // what the scripts of these pages share

(() => {
  const WORD = /\s+|[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Thai}]|[\p{L}\p{M}\p{N}_]+|[^\s]/gu;
  const MOST_CELLS = 4_000_000; // of the table of one comparison; beyond it lines are compared first

  function cut(text, by) {
    return text.match(by) ?? [];
  }

  // Pieces [said, text]: said is 0 for both, -1 for the first alone, 1 for the second alone.
  function differences(a, b, by = WORD) {
    const first = cut(a, by), second = cut(b, by);
    let head = 0, tail = 0;
    while (head < first.length && head < second.length && first[head] === second[head]) head++;
    while (tail < first.length - head && tail < second.length - head && first.at(-1 - tail) === second.at(-1 - tail)) tail++;
    const middle = between(first.slice(head, first.length - tail), second.slice(head, second.length - tail), by);
    return joined([[0, first.slice(0, head).join("")], ...middle, [0, tail ? first.slice(-tail).join("") : ""]]);
  }

  function between(first, second, by) {
    if (!first.length || !second.length) return [[-1, first.join("")], [1, second.join("")]];
    if (first.length * second.length <= MOST_CELLS) return aligned(first, second);
    if (by === WORD) return differences(first.join(""), second.join(""), /[^\n]*\n|[^\n]+/g);
    return [[-1, first.join("")], [1, second.join("")]];
  }

  // The longest common sequence, by the table that textbooks have.
  function aligned(first, second) {
    const wide = second.length + 1;
    const table = new Uint32Array((first.length + 1) * wide);
    for (let i = first.length - 1; i >= 0; i--)
      for (let j = second.length - 1; j >= 0; j--)
        table[i * wide + j] = first[i] === second[j]
          ? table[(i + 1) * wide + j + 1] + 1
          : Math.max(table[(i + 1) * wide + j], table[i * wide + j + 1]);
    const pieces = [];
    let i = 0, j = 0;
    while (i < first.length && j < second.length) {
      if (first[i] === second[j]) { pieces.push([0, first[i]]); i++; j++; }
      else if (table[(i + 1) * wide + j] >= table[i * wide + j + 1]) pieces.push([-1, first[i++]]);
      else pieces.push([1, second[j++]]);
    }
    while (i < first.length) pieces.push([-1, first[i++]]);
    while (j < second.length) pieces.push([1, second[j++]]);
    return pieces;
  }

  // Neighbours that say the same become one piece; what was taken out stands before what was put in.
  function joined(pieces) {
    const runs = [];
    for (const [said, text] of pieces) {
      if (!text) continue;
      if (runs.length && runs.at(-1)[0] === said) runs.at(-1)[1] += text;
      else if (runs.length > 1 && said === -1 && runs.at(-1)[0] === 1 && runs.at(-2)[0] === -1) runs.at(-2)[1] += text;
      else runs.push([said, text]);
    }
    return runs;
  }

  function piece(name, text) {
    const element = document.createElement(name);
    element.textContent = text;
    return element;
  }

  // Show one side of two texts: -1 what the first alone has, 1 what the second alone has, marked.
  function showSide(place, pieces, side) {
    place.replaceChildren(...pieces.filter(([said]) => said === 0 || said === side)
      .map(([said, text]) => said === 0 ? document.createTextNode(text) : piece("mark", text)));
  }

  // Show both at once: what went and what came.
  function showChanges(place, pieces) {
    const names = { "-1": "del", 1: "ins" };
    place.replaceChildren(...pieces.map(([said, text]) => said === 0 ? document.createTextNode(text) : piece(names[said], text)));
  }

  Object.assign(cai, { differences, showSide, showChanges });
})();
