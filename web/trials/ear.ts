/** Hears what a page plays, by a tap before the loudspeaker of every audio context, and times it: all in the page itself. */

import type { BrowserContext, Page } from '@playwright/test';
import type { Sound } from './wav.ts';

/** Samples that a tap takes at once: 341 ms, so that it misses nothing while the page is busy. */
const TAP_SAMPLES = 16_384;

interface Heard {
  blocks: Float32Array[];
  rate: number;
}

declare global {
  var trialHeard: Heard | undefined;
  var trialTasks: { from: number; ms: number }[] | undefined;
  var trialUsable: number | undefined;
}

/** What the browser may do to the microphone's sound: nothing, or what the page asks for, with or without noise suppression. */
export type Processing = 'none' | 'but noise' | 'all';

/** To be called before the first page opens. */
export async function listen(context: BrowserContext, processing: Processing): Promise<void> {
  await context.addInitScript(
    ({ samples, processing }) => {
      const connect = AudioNode.prototype.connect as (this: AudioNode, ...args: unknown[]) => unknown;
      AudioNode.prototype.connect = function (this: AudioNode, ...args: unknown[]) {
        const [target] = args;
        // Ring tones are oscillators; voice comes out of a worklet.
        if (target instanceof AudioDestinationNode && this instanceof AudioWorkletNode) tap(this);
        return connect.apply(this, args);
      } as typeof AudioNode.prototype.connect;
      // Not a worklet, whose code the page's policy would rightly refuse.
      const tap = (source: AudioWorkletNode) => {
        const context = source.context as AudioContext;
        const node = context.createScriptProcessor(samples, 1, 1);
        const heard: Heard = { blocks: [], rate: context.sampleRate };
        globalThis.trialHeard = heard;
        node.onaudioprocess = (event) => heard.blocks.push(event.inputBuffer.getChannelData(0).slice());
        connect.call(source, node);
        connect.call(node, context.destination);
      };
      globalThis.trialTasks = [];
      new PerformanceObserver((list) => {
        for (const task of list.getEntries()) globalThis.trialTasks?.push({ from: task.startTime, ms: task.duration });
      }).observe({ type: 'longtask' });
      const look = () => {
        if (document.querySelector('form input') === null) requestAnimationFrame(look);
        else globalThis.trialUsable = performance.now();
      };
      requestAnimationFrame(look);
      // As the settings keep it.
      if (processing === 'but noise') localStorage.setItem('ahoy noise', 'left in');
      if (processing !== 'none' || navigator.mediaDevices === undefined) return;
      const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = (asked) => {
        const audio = typeof asked?.audio === 'object' ? asked.audio : {};
        return open({ ...asked, audio: { ...audio, echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
      };
    },
    { samples: TAP_SAMPLES, processing },
  );
}

/** All that the newest audio context of the page has played. */
export async function heard(page: Page): Promise<Sound> {
  const [rate, text] = await page.evaluate(() => {
    const heard = globalThis.trialHeard;
    if (heard === undefined) return [48_000, ''] as const;
    const pieces: string[] = [];
    for (const block of heard.blocks) {
      const samples = Int16Array.from(block, (sample) => Math.round(Math.max(-1, Math.min(1, sample)) * 32_767));
      pieces.push(String.fromCharCode(...new Uint8Array(samples.buffer)));
    }
    return [heard.rate, btoa(pieces.join(''))] as const;
  });
  const bytes = Buffer.from(text, 'base64');
  return { rate, samples: new Int16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2).slice() };
}

/** Now, by the page's clock. */
export async function momentOf(page: Page): Promise<number> {
  return page.evaluate(() => performance.now());
}

/** Tasks that held the main thread for more than 50 ms, in milliseconds, of those that began since a moment by the page's clock. */
export async function longTasks(page: Page, since: number): Promise<number[]> {
  return page.evaluate((since) => (globalThis.trialTasks ?? []).filter(({ from }) => from >= since).map(({ ms }) => ms), since);
}

/** When the page's first form was there to be filled, in milliseconds from the start of its loading. */
export async function usableAfter(page: Page): Promise<number> {
  const usable = await page.waitForFunction(() => globalThis.trialUsable);
  return (await usable.jsonValue()) ?? 0;
}
