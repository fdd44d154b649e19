/** Device bindings: who a leaf of an MLS group is, on the account key's word and nobody else's (docs/protocol.md, section 2.2). */

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';

import { concat, label, u64 } from './bytes.ts';
import { KEY_LENGTH, publicKeyOf, signWith, verifySignature } from './ed25519.ts';
import { idBytes, idOf } from './ids.ts';
import { BindingSchema, type Binding } from './messages.ts';

/** A binding whose signature has been checked. Of the account it speaks only as far as `accountKey` is the pinned one. */
export interface VerifiedBinding {
  account: string;
  device: string;
  deviceKey: Uint8Array;
  accountKey: Uint8Array;
}

/** The encoded binding of a device. `accountSecret`: 32 bytes; `madeAt`: seconds since the Unix epoch. */
export function makeBinding(account: string, device: string, deviceKey: Uint8Array, accountSecret: Uint8Array, madeAt: number): Uint8Array {
  const fields = {
    account: idBytes(account),
    device: idBytes(device),
    deviceKey,
    accountKey: publicKeyOf(accountSecret),
    madeAt: BigInt(madeAt),
  };
  const signature = signWith(accountSecret, input(fields));
  return toBinary(BindingSchema, create(BindingSchema, { ...fields, signature }));
}

/** Checks an encoded binding; `null` where a field or the signature is not good. */
export function verifyBinding(encoded: Uint8Array): VerifiedBinding | null {
  let binding: Binding;
  try {
    binding = fromBinary(BindingSchema, encoded);
  } catch {
    return null;
  }
  const [account, device] = [idOf(binding.account), idOf(binding.device)];
  if (account === null || device === null || binding.deviceKey.length !== KEY_LENGTH) return null;
  if (!verifySignature(binding.signature, input(binding), binding.accountKey)) return null;
  return { account, device, deviceKey: binding.deviceKey, accountKey: binding.accountKey };
}

function input(binding: Pick<Binding, 'account' | 'device' | 'deviceKey' | 'madeAt'>): Uint8Array {
  return concat(label('ahoy/1 device binding'), binding.account, binding.device, binding.deviceKey, u64(binding.madeAt));
}
