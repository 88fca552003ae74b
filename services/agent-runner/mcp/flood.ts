/** Counts what comes in: false once it is more than so many within a second. */
export function createMeter(perSecondMax: number): (count: number) => boolean {
  let since = performance.now();
  let counted = 0;
  return (count) => {
    const now = performance.now();
    if (now - since > 1_000) {
      since = now;
      counted = 0;
    }
    counted += count;
    return counted <= perSecondMax;
  };
}
