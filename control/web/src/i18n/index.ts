// The page's words. The server has already chosen the language and written it into <html lang>; here it is only read.
import ar from "./ar.json";
import en from "./en.json";

type Texts = typeof ar;
type PluralForms = Record<"zero" | "one" | "two" | "few" | "many" | "other", string>;
export type TextKey = { [K in keyof Texts]: Texts[K] extends string ? K : never }[keyof Texts];
export type PluralKey = Exclude<keyof Texts, TextKey>;

export const lang: "ar" | "en" = document.documentElement.lang === "en" ? "en" : "ar";
const texts: Texts = lang === "en" ? en : ar;
/** Arabic numbers are written with Arabic-Indic digits; left to itself the browser chooses by region. */
const locale = lang === "en" ? "en" : "ar-u-nu-arab";

const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 });
const seconds = new Intl.NumberFormat(locale, { style: "unit", unit: "second", unitDisplay: "short", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const minutes = new Intl.NumberFormat(locale, { style: "unit", unit: "minute", unitDisplay: "short", maximumFractionDigits: 0 });
const hours = new Intl.NumberFormat(locale, { style: "unit", unit: "hour", unitDisplay: "short", maximumFractionDigits: 0 });
const megabits = new Intl.NumberFormat(locale, { style: "unit", unit: "megabit-per-second", unitDisplay: "short", maximumFractionDigits: 1 });
const milliseconds = new Intl.NumberFormat(locale, { style: "unit", unit: "millisecond", unitDisplay: "short", maximumFractionDigits: 0 });
const share = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 });
const twoDigits = new Intl.NumberFormat(locale, { minimumIntegerDigits: 2, useGrouping: false });
const clock = new Intl.DateTimeFormat(locale, { hour: "numeric", minute: "2-digit" });
const ago = new Intl.RelativeTimeFormat(locale, { numeric: "always", style: "long" });
const plurals = new Intl.PluralRules(lang);

export function t(key: TextKey, values: Record<string, string> = {}): string {
  return texts[key].replace(/\{(\w+)\}/g, (_, name: string) => values[name] ?? "");
}

/** A counted phrase in the right one of the six Arabic or two English forms. Zero has a phrase of its own in both. */
export function counted(key: PluralKey, n: number): string {
  const forms: PluralForms = texts[key];
  return forms[n === 0 ? "zero" : plurals.select(n)].replace("{n}", whole.format(n));
}

export const number = (n: number): string => whole.format(n);
export const compact = (n: number): string => short.format(n);
export const timeOfDay = (date: Date): string => clock.format(date);
export const bitrate = (bitsPerSecond: number): string => megabits.format(bitsPerSecond / 1_000_000);
export const shortTime = (ms: number): string => milliseconds.format(ms);
export const percent = (part: number): string => share.format(part);
export const delay = (ms: number): string => seconds.format(Math.max(0, ms) / 1000);

/** "5 min" or "2 hr 5 min"; null below one minute, where nobody counts yet. */
export function lasting(ms: number): string | null {
  const total = Math.floor(ms / 60_000);
  if (total < 1) return null;
  const part = minutes.format(total % 60);
  return total < 60 ? part : total % 60 === 0 ? hours.format(total / 60) : `${hours.format(Math.floor(total / 60))} ${part}`;
}

export function liveFor(startedAt: Date): string {
  const time = lasting(Date.now() - startedAt.getTime());
  return time ? t("since", { time }) : t("justStarted");
}

/** "3 days ago", in the largest unit that fits. */
export function timeAgo(date: Date): string {
  const seconds = Math.min(-1, (date.getTime() - Date.now()) / 1000);
  const [unit, size] = UNITS.find(([, size]) => -seconds >= size) ?? UNITS[UNITS.length - 1]!;
  return ago.format(Math.ceil(seconds / size), unit);
}

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [["year", 31_536_000], ["month", 2_592_000], ["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]];

/** "05:32" or "1:05:32", counting up. */
export function elapsed(ms: number): string {
  const total = Math.max(0, Math.floor(ms / 1000));
  const [hour, minute, second] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  return [...(hour > 0 ? [whole.format(hour)] : []), twoDigits.format(minute), twoDigits.format(second)].join(":");
}
