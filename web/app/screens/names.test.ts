import { describe, expect, it } from 'vitest';
import { deviceName, nameProblem, strengthOf } from './names.ts';

describe('names', () => {
  it('follow the protocol', () => {
    for (const name of ['bob', 'dora.k', 'old_jack', 'nour-eldin', ' Alice ', 'a'.repeat(32)]) expect(nameProblem(name), name).toBeNull();
    for (const name of ['ab', 'a'.repeat(33), '.bob', 'bob-', 'a..b', 'a b c', 'jörg']) expect(nameProblem(name), name).not.toBeNull();
  });
});

describe('passwords', () => {
  it('are called what they are', () => {
    expect(strengthOf('short1!', 'eve')).toBe('short');
    for (const weak of ['password1', '12345678', 'aaaaaaaaaaaa', 'qwertyuiop', 'evelyn.k1']) expect(strengthOf(weak, 'evelyn.k'), weak).toBe('weak');
    expect(strengthOf('harbour7Xq', 'eve')).toBe('fair');
    for (const strong of ['four calm words afloat', 'xK9#vQ2!mZ7@pL']) expect(strengthOf(strong, 'eve'), strong).toBe('strong');
  });
});

it('a device is called what it is', () => {
  expect(deviceName('Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36')).toBe('Chrome on Linux');
  expect(deviceName('Mozilla/5.0 (iPhone; CPU iPhone OS 26_0 like Mac OS X) AppleWebKit/605.1.15 Version/26.0 Safari/604.1')).toBe('Safari on iPhone');
});
