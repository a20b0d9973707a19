import { ValidateIf } from 'class-validator';

/**
 * May be left out, but not be null: unlike `IsOptional`, which lets null through to columns that cannot hold it.
 */
export const IfGiven = () => ValidateIf((_dto: object, value: unknown) => value !== undefined);
