"use strict";
(() => {
  const inside = document.getElementById("inside");
  const nearEnd = () => window.innerHeight + window.scrollY >= document.body.scrollHeight - 80;
  let last = "";
  const refresh = async () => {
    try {
      const answer = await fetch("/_sandbox/part" + location.search, { cache: "no-store" });
      const text = answer.ok ? await answer.text() : last;
      if (text !== last) {
        const follow = nearEnd();
        const side = document.querySelector("nav");
        const sideAt = side ? side.scrollTop : 0;
        inside.innerHTML = text;
        last = text;
        const newSide = document.querySelector("nav");
        if (newSide) newSide.scrollTop = sideAt;
        if (follow) window.scrollTo(0, document.body.scrollHeight);
      }
      document.title = "Feishu sandbox";
    } catch (_) {
      document.title = "Feishu sandbox (gone)";
    }
    setTimeout(refresh, 1000);
  };
  window.scrollTo(0, document.body.scrollHeight);
  setTimeout(refresh, 1000);
})();
