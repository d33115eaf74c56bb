// Tells the machine that serves this page where the head and the hands are, frame by frame, and shakes the controllers
// when it says so. A frame is a list of numbers; their order is that of FRAME in frames.py.
"use strict";

const SIDES = ["left", "right"];
const UNKNOWN = Array(7).fill(NaN);
const BACKLOG = 2048; // bytes on their way out beyond which a frame is left out: it would come late
const AGAIN = 500; // milliseconds between two attempts to connect
const TAKEN_OVER = 4001; // the server's reason to close when another headset has come

const show = (id, on) => { document.getElementById(id).hidden = !on; };
const say = (text) => { document.getElementById("said").textContent = text; };

let socket = null;
let session = null;
let space = null;
let moved = 0; // how often the space has moved
let known = false; // whether the code was right once

function connect(code) {
  show("codes", false); // once is enough
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(`${scheme}://${location.host}/hands`, ["appliance", code]);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    known = true;
    localStorage.setItem("code", code);
    show("codes", false);
    show("enter", !session);
    say("Connected.");
  };
  socket.onmessage = (event) => hear(JSON.parse(event.data));
  socket.onclose = (event) => {
    show("enter", false);
    if (event.code === TAKEN_OVER) {
      say("Another headset has taken over. Load this page again to take it back.");
    } else if (known) {
      say("The connection is lost; trying again ...");
      setTimeout(connect, AGAIN, code);
    } else {
      show("codes", true);
      say("Not connected. Is the code right, and does the appliance run?");
    }
  };
}

function hear(message) {
  if ("ask" in message) {
    socket.send(new Float64Array([message.ask, performance.now()]));
  } else if ("pulse" in message && session?.visibilityState === "visible") {
    const [hand, seconds, amplitude] = message.pulse;
    const gamepad = controller(SIDES[hand])?.gamepad;
    const actuator = gamepad?.hapticActuators?.[0] ?? gamepad?.vibrationActuator;
    actuator?.pulse?.(amplitude, 1000 * seconds);
  }
}

// The controller of one hand; a bare hand is none.
function controller(side) {
  return [...session.inputSources].find((one) => one.handedness === side && one.gripSpace && !one.hand);
}

function pose(seen) {
  if (!seen) return UNKNOWN;
  const { position: p, orientation: q } = seen.transform;
  return [p.x, p.y, p.z, q.x, q.y, q.z, q.w];
}

// The parts of a controller are numbered by WebXR's "xr-standard" mapping.
function part(source, list, index) {
  const gamepad = source?.gamepad;
  return gamepad?.mapping === "xr-standard" ? gamepad[list][index] ?? undefined : undefined;
}

function value(source, button) {
  return part(source, "buttons", button)?.value ?? NaN;
}

// WebXR's sticks are right and back; ours right and forward.
function stick(source) {
  return [part(source, "axes", 2) ?? NaN, -(part(source, "axes", 3) ?? NaN)];
}

// Bits: lower (X or A), upper (Y or B), the stick pressed in. WebXR keeps the menu button to itself.
function buttons(source) {
  return [4, 5, 3].reduce((bits, button, bit) => bits + (part(source, "buttons", button)?.pressed ? 1 << bit : 0), 0);
}

function look(_time, frame) {
  const at = performance.now();
  const current = frame.session;
  current.requestAnimationFrame(look);
  if (socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > BACKLOG) return;
  const focused = current.visibilityState === "visible";
  const sources = SIDES.map((side) => (focused ? controller(side) : undefined));
  const grips = sources.map((one) => one && frame.getPose(one.gripSpace, space));
  const aims = sources.map((one) => one && frame.getPose(one.targetRaySpace, space));
  socket.send(new Float64Array([
    at,
    moved,
    Number(focused),
    ...pose(frame.getViewerPose(space)),
    ...sources.map((one) => Number(Boolean(one))),
    ...grips.map((grip) => Number(Boolean(grip) && !grip.emulatedPosition)),
    ...grips.flatMap(pose),
    ...aims.flatMap(pose),
    ...sources.map((one) => value(one, 0)),
    ...sources.map((one) => value(one, 1)),
    ...sources.flatMap(stick),
    ...sources.map(buttons),
  ]));
}

// Where the headset can show the room, it does: the person has to see the robot. Nothing is drawn.
async function enter() {
  const kind = await navigator.xr.isSessionSupported("immersive-ar") ? "immersive-ar" : "immersive-vr";
  session = await navigator.xr.requestSession(kind);
  session.addEventListener("end", () => {
    session = null;
    show("enter", socket.readyState === WebSocket.OPEN);
    say("Ended.");
  });
  const context = document.getElementById("canvas").getContext("webgl", { xrCompatible: true });
  await session.updateRenderState({ baseLayer: new XRWebGLLayer(session, context) });
  space = await session.requestReferenceSpace("local");
  space.addEventListener("reset", () => { moved += 1; });
  moved += 1;
  show("enter", false);
  say("The hands are being told.");
  session.requestAnimationFrame(look);
}

async function begin() {
  show("enter", false); // once is enough
  try {
    await enter();
  } catch (error) {
    await session?.end();
    show("enter", socket.readyState === WebSocket.OPEN);
    say(`It does not begin: ${error.message}`);
  }
}

function start() {
  if (!navigator.xr) {
    say(isSecureContext ? "This browser knows no WebXR." : "Open this page as https://, or as http://localhost.");
    return;
  }
  document.getElementById("enter").onclick = begin;
  document.getElementById("codes").onsubmit = (event) => {
    event.preventDefault();
    connect(document.getElementById("code").value.trim().toLowerCase());
  };
  const code = location.hash.slice(1) || localStorage.getItem("code");
  history.replaceState(null, "", "/"); // the code does not stay where it can be seen
  if (code) connect(code);
  else show("codes", true);
}

start();
