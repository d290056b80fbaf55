// A substitute for a camera and a microphone: a soft tone, and a moving drawing with a clock, which shows if
// the picture is frozen.

import { reducedMotion } from "./dom.js";
import { clock } from "./format.js";

const width = 480;
const height = 270;
const shown = (height * 4) / 3; // a phone shows only this part of the width
const frameMs = 100;

/**
 * @param {string} name
 * @param {number} hue
 */
export function camera(name, hue) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { alpha: false });
  if (!context) throw new Error("it draws on no canvas");
  let drawn = 0;
  const frame = () => {
    const now = Date.now();
    if (now - drawn < (reducedMotion.matches ? 1000 : 0)) return;
    drawn = reducedMotion.matches ? now - (now % 1000) : now;
    draw(context, name, hue, drawn);
  };
  frame();
  setInterval(frame, frameMs); // requestAnimationFrame would stop in a background page
  const [track] = canvas.captureStream(1000 / frameMs).getVideoTracks();
  if (!track) throw new Error("it makes no video of a canvas");
  return track;
}

/**
 * @param {CanvasRenderingContext2D} c
 * @param {string} name
 * @param {number} hue
 * @param {number} now
 */
function draw(c, name, hue, now) {
  const t = now / 1000;
  const ground = c.createLinearGradient(0, 0, width, height);
  ground.addColorStop(0, `hsl(${hue} 52% 30%)`);
  ground.addColorStop(1, `hsl(${hue + 50} 55% 17%)`);
  c.fillStyle = ground;
  c.fillRect(0, 0, width, height);

  for (const [i, speed] of [0.23, 0.31, 0.17].entries()) {
    const x = width * (0.5 + 0.42 * Math.sin(t * speed + i * 2.1));
    const y = height * (0.5 + 0.42 * Math.cos(t * speed * 1.3 + i * 1.7));
    const light = c.createRadialGradient(x, y, 0, x, y, 150);
    light.addColorStop(0, `hsl(${hue + 25 * i} 80% 62% / 0.5)`);
    light.addColorStop(1, `hsl(${hue + 25 * i} 80% 62% / 0)`);
    c.fillStyle = light;
    c.fillRect(0, 0, width, height);
  }

  const [x, y] = [width / 2, height / 2 - 8];
  const radius = 56;
  c.lineWidth = 2;
  for (const ring of [0, 1]) {
    const grown = (t / 4 + ring / 2) % 1;
    c.strokeStyle = `rgb(255 255 255 / ${0.4 * (1 - grown)})`;
    disc(c, x, y, radius + 34 * grown);
    c.stroke();
  }
  c.fillStyle = "rgb(255 255 255 / 0.18)";
  disc(c, x, y, radius);
  c.fill();
  c.fillStyle = "#fff";
  disc(c, x + radius * Math.sin(t), y - radius * Math.cos(t), 5);
  c.fill();
  c.font = "600 58px system-ui, sans-serif";
  c.textAlign = "center";
  c.textBaseline = "middle";
  c.fillText(name.slice(0, 1), x, y + 4);
  c.font = "500 18px ui-monospace, monospace";
  c.textAlign = "right";
  c.fillText(clock(now), width / 2 + shown / 2 - 14, height - 22);
}

/**
 * @param {CanvasRenderingContext2D} c
 * @param {number} x
 * @param {number} y
 * @param {number} radius
 */
function disc(c, x, y, radius) {
  c.beginPath();
  c.arc(x, y, radius, 0, 2 * Math.PI);
}

/**
 * Returns a track of two notes that become louder and softer.
 * @param {AudioContext} audio
 * @param {number[]} notes in hertz
 */
export function tone(audio, notes) {
  const out = audio.createMediaStreamDestination();
  const swell = audio.createGain();
  swell.gain.value = 0.05;
  swell.connect(out);
  const tide = audio.createOscillator();
  tide.frequency.value = 0.2;
  const depth = audio.createGain();
  depth.gain.value = 0.04;
  tide.connect(depth).connect(swell.gain);
  tide.start();
  for (const note of notes) {
    const voice = audio.createOscillator();
    voice.frequency.value = note;
    voice.connect(swell);
    voice.start();
  }
  return out.stream.getAudioTracks()[0] ?? null;
}
