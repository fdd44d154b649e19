import { expect, test } from 'vitest';

import { hex } from '../proto/bytes.ts';
import { fromHex, golden } from '../proto/golden.ts';
import { readContent, writeContent } from './content.ts';

test('a message holds its number, as all implementations write it', () => {
  const { content } = golden<{
    content: { encoded: string; number: number; reply_to: { device: string; number: number }; sent_at_ms: number; text: string };
  }>('messages');
  const said = { kind: 'text', text: content.text, replyTo: content.reply_to } as const;
  expect(hex(writeContent({ number: content.number, said, sentAtMs: content.sent_at_ms }))).toBe(content.encoded);
  expect(readContent(fromHex(content.encoded))).toEqual({ number: BigInt(content.number), said });
});
