/** Reports: what somebody complains of, for the eyes of the network's operator (docs/protocol.md, section 6.5). */

import { toBinary } from '@bufbuild/protobuf';

import { characters, concat, utf8 } from './bytes.ts';
import { sealTo } from './hpke.ts';
import { idBytes } from './ids.ts';
import { REPORT_REASON_CHARACTERS_MAX, REPORT_SEALED_MAX } from './limits.ts';
import { ReportContentSchema, type ReportContent } from './messages.ts';

/** Seals a report by one account about another; `null` where the network's key is of no use. Throws {@link RangeError} where it is too long. */
export async function sealReport(
  content: ReportContent,
  { reporter, about }: { reporter: string; about: string },
  reportKey: Uint8Array,
  seed?: Uint8Array,
): Promise<Uint8Array | null> {
  if (characters(content.reason) > REPORT_REASON_CHARACTERS_MAX) throw new RangeError('the reason is too long');
  const purpose = { info: utf8('ahoy/1 report'), aad: concat(idBytes(reporter), idBytes(about)) };
  const sealed = await sealTo(reportKey, toBinary(ReportContentSchema, content), purpose, seed);
  if (sealed !== null && sealed.length > REPORT_SEALED_MAX) throw new RangeError('the report is too long');
  return sealed;
}
