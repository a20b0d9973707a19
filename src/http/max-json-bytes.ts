import { registerDecorator } from 'class-validator';

/** Refuses a value whose JSON is longer than `bytes` in UTF-8: for objects that are stored as they come. */
export function MaxJsonBytes(bytes: number): PropertyDecorator {
  return (target, propertyKey) => {
    registerDecorator({
      name: 'maxJsonBytes',
      target: target.constructor,
      propertyName: String(propertyKey),
      validator: {
        validate: (value: unknown) => Buffer.byteLength(JSON.stringify(value) ?? '') <= bytes,
        defaultMessage: () => `$property must be at most ${bytes} bytes of JSON`,
      },
    });
  };
}
